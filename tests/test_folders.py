"""Layouts of public image sets, in short: which files there are, and what is understood."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest.sources import list_images
from tests.layouts import counted, make

IMAGENET = (
    "ILSVRC/Data/CLS-LOC/train/n1/n1_#2.JPEG ILSVRC/Data/CLS-LOC/train/n2/n2_#2.JPEG "
    "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_#2.JPEG "
    "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_#2.JPEG"
)
YAML = "names: [cat, dog]"


def voc(*names: str) -> str:
    objects = "".join(f"<object><name>{name}</name></object>" for name in names)
    return f"<annotation>{objects}</annotation>"


def coco(**images: str) -> str:
    """An image's name without its .jpg → its classes, apart by spaces."""
    names = sorted({name for several in images.values() for name in several.split()})
    return json.dumps(
        {
            "images": [{"id": i, "file_name": f"{image}.jpg"} for i, image in enumerate(images)],
            "categories": [{"id": 7 + i, "name": name} for i, name in enumerate(names)],
            "annotations": [
                {"image_id": i, "category_id": 7 + names.index(name)}
                for i, several in enumerate(images.values())
                for name in several.split()
            ],
        }
    )


class Layout(NamedTuple):
    """Files (empty, and texts) and what is expected: counts, words of notes, or of the error."""

    name: str
    files: str
    expected: str = ""
    notes: tuple[str, ...] = ()  # regular expressions, one for each note
    texts: dict[str, str] = {}  # noqa: RUF012 - never changed
    error: str = ""
    refused: int = 0


READ = [
    # A folder for each class
    Layout("keras flow_from_directory", "{cat,dog}/#3.jpg", "cat 3, dog 3"),
    Layout(
        "torchvision ImageFolder, nested",
        "cat/{a,b}/#2.png dog/x/#3.png",
        "cat 4, dog 3",
        ("Folders inside a class belong to it, as a to cat: cat, dog",),
    ),
    Layout(
        "loose files beside classes",
        "{cat,dog}/#2.jpg #3.jpg",
        "cat 2, dog 2",
        ("3 images in the folder itself without a class left out",),
    ),
    Layout("empty class folder", "{cat,dog}/#2.jpg bird/", "cat 2, dog 2", ("No images in bird",)),
    Layout(
        "class folder of something else",
        "{cat,dog}/#2.jpg bird/#2.raw",
        "cat 2, dog 2",
        ("No images in bird",),
    ),
    Layout("a class called test", "test/#2.jpg control/#2.jpg", "control 2, test 2"),
    Layout("vehicles", "{train,bus,car}/#2.jpg", "bus 2, car 2, train 2"),
    Layout("vehicles with words", "{steam_train,train_station,bus}/#1.jpg",
           "bus 1, steam_train 1, train_station 1"),
    Layout("a wrapper", "flowers/{rose,tulip}/#2.jpg", "rose 2, tulip 2"),
    Layout("two wrappers", "data/flowers/{rose,tulip}/#2.jpg", "rose 2, tulip 2"),
    Layout(
        "a zip of a Mac",
        "flowers/{rose,tulip}/#2.jpg __MACOSX/flowers/{rose,tulip}/._#2.jpg",
        "rose 2, tulip 2",
        ("No images in __MACOSX",),
    ),
    Layout(
        "__MACOSX with copies",
        "{rose,tulip}/#2.jpg __MACOSX/rose/#2.jpg",
        "rose 2, tulip 2",
        ("__MACOSX is no class: 2 images left out",),
    ),
    Layout("hidden folders", "{a,b}/#1.jpg .ipynb_checkpoints/#3.jpg", "a 1, b 1"),
    Layout(
        "Food-101",
        "food-101/images/{pie,soup}/#2.jpg food-101/README.txt",
        "pie 2, soup 2; test 2, train 2",
        ("No images in food-101/meta", "Splits are those of food-101/meta/test.txt, "
         "food-101/meta/train.txt.$"),
        {"food-101/meta/train.txt": "pie/1\nsoup/1\n", "food-101/meta/test.txt": "pie/2\nsoup/2\n",
         "food-101/meta/classes.txt": "pie\nsoup\n"},
    ),
    Layout(
        "Caltech-101", "101_ObjectCategories/{ant,bass,BACKGROUND_Google}/image_#2.jpg",
        "BACKGROUND_Google 2, ant 2, bass 2",
    ),
    Layout(
        "Stanford Dogs",
        "Images/n1-{Chihuahua,Beagle}/n1_#2.jpg Annotation/n1-{Chihuahua,Beagle}/n1_#2",
        "n1-Beagle 2, n1-Chihuahua 2",
        ("No images in Annotation",),
    ),
    Layout(
        "images and masks",
        "images/{rose,tulip}/#2.jpg masks/{rose,tulip}/#2.png",
        "rose 2, tulip 2",
        ("masks is no class: 4 images left out",),
    ),
    Layout("names in scripts", "花/#2.jpg fraise/#1.jpg", "fraise 1, 花 2"),
    Layout("numbers as classes (MNIST as PNG)", "{0,1,2}/#2.png", "0 2, 1 2, 2 2"),
    Layout("upper case suffixes", "{a,b}/#2.JPG", "a 2, b 2"),
    # Splits
    Layout("Keras", "{train,validation}/{cat,dog}/#2.jpg", "cat 4, dog 4; eval 4, train 4"),
    Layout(
        "Roboflow folder",
        "{train,valid,test}/{cat,dog}/#1.jpg README.roboflow.txt",
        "cat 3, dog 3; eval 2, test 2, train 2",
    ),
    Layout("valid instead of test", "{train,valid}/{a,b}/#1.jpg", "a 2, b 2; eval 2, train 2"),
    Layout(
        "splits with others beside them",
        "{train,test}/{a,b}/#1.jpg __MACOSX/x/._1.jpg docs/readme.md unlabeled/#5.jpg",
        "a 2, b 2; test 2, train 2",
        ("unlabeled is no class: 5 images left out", "No images in __MACOSX, docs"),
    ),
    Layout(
        "docs with pictures",
        "{train,test}/{a,b}/#1.jpg docs/figure#2.png",
        "a 2, b 2; test 2, train 2",
        ("docs is neither a split nor in one: 2 images left out",),
    ),
    Layout("STL-like", "{train,test}/{a,b}/#1.png unlabelled/#3.png", "a 2, b 2; test 2, train 2",
           ("unlabelled is no class: 3",)),
    Layout("a split named holdout", "{train,holdout}/{a,b}/#1.jpg", "a 2, b 2; test 2, train 2"),
    Layout("a split named hold-out", "{train,hold-out}/{a,b}/#1.jpg", "a 2, b 2; test 2, train 2"),
    Layout("dev", "{train,dev,test}/{a,b}/#1.jpg", "a 3, b 3; eval 2, test 2, train 2"),
    Layout("capitals", "{TRAIN,TEST}/{A,B}/#1.jpeg", "A 2, B 2; test 2, train 2"),
    Layout("only train", "train/{a,b}/#2.jpg", "a 2, b 2; train 4"),
    Layout("ImageNet", "{train,val}/{n01440764,n01443537}/n_#1.JPEG",
           "n01440764 2, n01443537 2; eval 2, train 2"),
    Layout(
        "ImageNet, val flat",
        "train/{n01440764,n01443537}/n_#2.JPEG val/ILSVRC2012_val_#3.JPEG",
        "n01440764 2, n01443537 2; train 4",
        ("3 images in val without a class left out",
         "classes of ILSVRC2012_val_… stand in ImageNet's LOC_val_solution.csv, or in its Ann"),
    ),
    Layout(
        "Tiny ImageNet",
        "tiny-imagenet-200/train/{n1,n2}/images/#2.JPEG tiny-imagenet-200/train/n1/n1_boxes.txt "
        "tiny-imagenet-200/val/images/val_#3.JPEG tiny-imagenet-200/val/val_annotations.txt",
        "n1 2, n2 2; train 4",
        ("Folders inside a class", "3 images in tiny-imagenet-200/val/images without a class"),
    ),
    Layout("fastai imagenette", "imagenette2/{train,val}/{n1,n2}/#1.JPEG",
           "n1 2, n2 2; eval 2, train 2"),
    Layout("TFDS ImageFolder", "set/{train,validation,test}/{a,b}/#1.png",
           "a 3, b 3; eval 2, test 2, train 2"),
    Layout("chest_xray",
           "chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/#1.jpeg "
           "chest_xray/chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/#1.jpeg "
           "chest_xray/__MACOSX/chest_xray/._.DS_Store",
           "NORMAL 3, PNEUMONIA 3; eval 2, test 2, train 2",
           ("chest_xray/chest_xray is a copy of what is beside it: 6 images left out",
            "No images in chest_xray/__MACOSX")),
    Layout("the root has the copy", "{a,b}/#2.jpg set/{a,b}/#2.jpg", "a 2, b 2",
           ("set is a copy of what is beside it: 4",)),
    Layout("natural_images twice", "natural_images/{a,b}/#2.jpg data/natural_images/{a,b}/#2.jpg",
           "a 2, b 2", ("data is a copy of what is beside it: 4",)),
    Layout(
        "Intel scenes",
        "seg_train/seg_train/{sea,forest}/#2.jpg seg_test/seg_test/{sea,forest}/#1.jpg "
        "seg_pred/seg_pred/#4.jpg",
        "forest 3, sea 3; test 2, train 4",
        ("seg_pred is neither a split nor in one: 4 images left out",),
    ),
    Layout("ASL", "asl_alphabet_train/asl_alphabet_train/{A,B}/A#1.jpg "
           "asl_alphabet_test/asl_alphabet_test/{A,B}_test.jpg",
           "A 1, B 1; train 2",
           ("2 images in asl_alphabet_test/asl_alphabet_test without a class left out",)),
    Layout("Stanford Cars", "cars_{train,test}/{audi,vw}/#1.jpg", "audi 2, vw 2; test 2, train 2"),
    Layout("train_images", "{train,test}_images/{a,b}/#1.jpg", "a 2, b 2; test 2, train 2"),
    Layout("Training_set", "{Training,Test}_set/{a,b}/#1.jpg", "a 2, b 2; test 2, train 2"),
    Layout("cats_and_dogs_filtered",
           "cats_and_dogs_filtered/{train,validation}/{cats,dogs}/c.#1.jpg "
           "cats_and_dogs_filtered/vectorize.py",
           "cats 2, dogs 2; eval 2, train 2"),
    Layout("images/train/a", "images/{train,val}/{a,b}/#1.jpg", "a 2, b 2; eval 2, train 2"),
    Layout("train/images/a", "{train,val}/images/{a,b}/#1.jpg", "a 2, b 2; eval 2, train 2"),
    Layout("splits in classes", "{cat,dog}/{train,test}/#2.jpg", "cat 4, dog 4; test 4, train 4"),
    Layout(
        "MVTec, one category",
        "bottle/train/good/#2.png bottle/test/{good,broken}/#1.png "
        "bottle/ground_truth/broken/#1_mask.png",
        "broken 1, good 3; test 2, train 2",
        ("bottle/ground_truth is neither a split nor in one: 1 image left out",),
    ),
    Layout(
        "MVTec, several categories",
        "{bottle,cable}/train/good/#2.png bottle/test/{good,broken}/#1.png "
        "cable/test/{good,bent}/#1.png {bottle,cable}/ground_truth/x/#1_mask.png",
        "bottle 4, cable 4; test 4, train 4",
        ("bottle/ground_truth is neither", "cable/ground_truth is neither"),
    ),
    Layout("a picture beside a wrapper", "preview.jpg flowers/{rose,tulip}/#2.jpg",
           "rose 2, tulip 2", ("1 image in the folder itself without a class left out",)),
    Layout("splits in classes, with others", "{cat,dog}/{train,test}/#2.jpg {cat,dog}/9.jpg",
           "cat 4, dog 4; test 4, train 4", ("1 image in cat without", "1 image in dog without")),
    Layout("a class test with folders", "test/{x,y}/#2.jpg control/#2.jpg", "control 2, test 4",
           ("Folders inside a class belong to it, as x to test: test",)),
    Layout("a table that does not help", "train/{a,b}/#2.jpg test/#3.jpg", "a 2, b 2; train 4",
           ("3 images in test without a class left out", "test.csv names none of the images"),
           {"test.csv": "path,label\n8.jpg,a\n"}),
    Layout("flat test", "train/{a,b}/#2.jpg test/#3.jpg", "a 2, b 2; train 4",
           ("3 images in test without a class left out",)),
    Layout("train and one more", "train/{a,b}/#2.jpg demo/#3.jpg", "a 2, b 2; train 4",
           ("demo is neither a split nor in one: 3 images left out",)),
    Layout("Blood cells, as downloaded", "images/{TRAIN,TEST,TEST_SIMPLE}/{A,B}/#1.jpeg",
           "A 2, B 2; test 2, train 2", ("images/TEST_SIMPLE is neither",)),
    Layout("Fruits 360", "fruits-360/{Training,Test}/{Apple,Kiwi}/#1_100.jpg "
           "fruits-360/test-multiple_fruits/m#2.jpg fruits-360/LICENSE",
           "Apple 2, Kiwi 2; test 2, train 2", ("fruits-360/test-multiple_fruits is neither",)),
    # Labels in tables
    Layout("Hugging Face metadata.csv", "train/#3.jpg", "cat 2, dog 1; train 3", (),
           {"train/metadata.csv": "file_name,label\n1.jpg,cat\n2.jpg,dog\n3.jpg,cat\n"}),
    Layout("Hugging Face metadata.jsonl", "{train,test}/#2.jpg",
           "cat 2, dog 2; test 2, train 2", (),
           {f"{split}/metadata.jsonl": '{"file_name": "1.jpg", "label": "cat"}\n'
            '{"file_name": "2.jpg", "label": "dog"}\n' for split in ("train", "test")}),
    Layout("labels.csv beside the files", "#2.jpg", "a 1, b 1", (),
           {"labels.csv": "filename,label\n1.jpg,a\n2.jpg,b\n"}),
    Layout("labels.csv in train", "train/#2.jpg", "a 1, b 1; train 2", (),
           {"train/labels.csv": "id,label\n1,a\n2,b\n"}),
    Layout("Kaggle dog breeds", "train/{aa,ab}.jpg test/{ba,bb}.jpg", "beagle 1, pug 1; train 2",
           (r"labels.csv names 2 files that were found by their names alone, as aa in train/aa.jpg",
            "2 images in test without a class left out"),
           {"labels.csv": "id,breed\naa,pug\nab,beagle\n",
            "sample_submission.csv": "id,breed\nba,pug\nbb,pug\n"}),
    Layout("Kaggle CIFAR-10", "{train,test}/#2.png", "cat 1, frog 1; train 2",
           ("found by their names", "2 images in test"),
           {"trainLabels.csv": "id,label\n1,frog\n2,cat\n"}),
    Layout("Kaggle cassava", "train_images/#2.jpg test_images/9.jpg", "0 1, 3 1; train 2",
           ("found by their names", "1 image in test_images"),
           {"train.csv": "image_id,label\n1.jpg,0\n2.jpg,3\n"}),
    Layout("GTSRB", "Train/{0,1}/#2.png Test/#2.png Meta/#2.png", "0 3, 1 3; test 2, train 4",
           ("Meta is neither", "Train.csv says what the folders say"),
           {"Train.csv": "ClassId,Path\n0,Train/0/1.png\n1,Train/1/1.png\n",
            "Test.csv": "ClassId,Path\n0,Test/1.png\n1,Test/2.png\n",
            "Meta.csv": "Path,ClassId\nMeta/1.png,0\n"}),
    Layout("HAM10000", "ham_part_1/a#2.jpg ham_part_2/b#2.jpg", "bkl 2, nv 2",
           ("pieces of one set", "found by their names"),
           {"HAM10000_metadata.csv":
            "lesion_id,image_id,dx\nx,a1,nv\nx,a2,bkl\nx,b1,nv\nx,b2,bkl\n"}),
    Layout("MNIST_SAMPLE of fastai", "{train,valid}/{3,7}/#1.png", "3 2, 7 2; eval 2, train 2",
           ("labels.csv says what the folders say",),
           {"labels.csv": "name,label\ntrain/3/1.png,0\ntrain/7/1.png,1\nvalid/3/1.png,0\n"}),
    Layout("a table of all that says otherwise", "{x,y}/#2.jpg", "cat 2, dog 2",
           ("labels.csv says otherwise than the folders, and is right",),
           {"labels.csv": "path,label\nx/1.jpg,cat\nx/2.jpg,dog\ny/1.jpg,cat\ny/2.jpg,dog\n"}),
    Layout("a table of something else", "{a,b}/#3.jpg", "a 3, b 3",
           ("days.csv says otherwise than the folders",),
           {"days.csv": "path,label\na/1.jpg,monday\na/2.jpg,tuesday\n"}),
    Layout("Roboflow one-hot", "{train,valid}/#2.jpg", "cat 2, dog 2; eval 2, train 2", (),
           {f"{split}/_classes.csv": "filename, cat, dog\n1.jpg, 1, 0\n2.jpg, 0, 1\n"
            for split in ("train", "valid")}),
    # Labels in annotations
    Layout("Pascal VOC", "VOC/JPEGImages/#3.jpg VOC/SegmentationClass/#3.png", "cat 1, dog 1; "
           "eval 1, train 1", ("VOC/SegmentationClass is no class", "No images in VOC/Ann"),
           {"VOC/Annotations/1.xml": voc("cat", "cat"), "VOC/Annotations/2.xml": voc("dog"),
            "VOC/Annotations/3.xml": voc("cat", "dog"),
            "VOC/ImageSets/Main/train.txt": "1\n3\n", "VOC/ImageSets/Main/val.txt": "2\n"},
           refused=1),
    Layout("Roboflow VOC", "{train,valid}/#1.jpg", "cat 1, dog 1; eval 1, train 1", (),
           {"train/1.xml": voc("cat"), "valid/1.xml": voc("dog")}),
    Layout("COCO", "train2017/a#2.jpg val2017/b#2.jpg", "cat 1, dog 2; eval 2, train 1",
           ("No images in annotations",),
           {"annotations/instances_train2017.json": coco(a1="cat", a2="cat dog"),
            "annotations/instances_val2017.json": coco(b1="dog", b2="dog")}, refused=1),
    Layout("Roboflow COCO", "{train,valid}/x#2.jpg", "cat 2, dog 2; eval 2, train 2", (),
           {f"{split}/_annotations.coco.json": coco(x1="cat", x2="dog")
            for split in ("train", "valid")}),
    Layout("YOLO", "images/{train,val}/#2.jpg", "cat 2, dog 1; eval 1, train 2",
           ("No images in labels",),
           {"data.yaml": YAML, "labels/train/1.txt": "0 .5 .5 .1 .1\n0 .2 .2 .1 .1\n",
            "labels/train/2.txt": "1 .5 .5 .1 .1\n", "labels/val/1.txt": "0 .5 .5 .1 .1\n",
            "labels/val/2.txt": ""}, refused=1),
    Layout("Roboflow YOLO", "{train,valid}/images/#1.jpg", "cat 1, dog 1; eval 1, train 1",
           ("No images in train/labels", "No images in valid/labels"),
           {"data.yaml": YAML, "train/labels/1.txt": "0 .5 .5 .1 .1\n",
            "valid/labels/1.txt": "1 .5 .5 .1 .1\n"}),
    Layout("darknet", "#2.jpg", "cat 1, dog 1", (),
           {"classes.txt": "cat\ndog\n", "1.txt": "0 .5 .5 .1 .1\n", "2.txt": "1 .5 .5 .1 .1"}),
    # Labels in names
    Layout("cat.1.jpg", "{cat,dog}.#3.jpg", "cat 3, dog 3",
           ("Classes are the beginnings of the files' names, as cat of cat.1.jpg",)),
    Layout("Kaggle dogs and cats", "train/{cat,dog}.#3.jpg test1/#4.jpg", "cat 3, dog 3; train 6",
           ("beginnings", "4 images in test1 without a class left out")),
    Layout("Oxford pets", "images/{Abyssinian,great_pyrenees}_#3.jpg annotations/trimaps/x_#3.png",
           "Abyssinian 3, great_pyrenees 3", ("annotations is no class", "beginnings")),
    Layout("Oxford pets with some annotations", "images/{Abyssinian,pug}_#3.jpg",
           "Abyssinian 3, pug 3", ("No images in annotations", "beginnings"),
           {"annotations/xmls/pug_1.xml": voc("dog"), "annotations/list.txt": "pug_1 1 1 1"}),
    Layout("numbers in brackets", "pics/{cat,dog}_(#2).jpg", "cat 2, dog 2", ("beginnings",)),
]  # fmt: skip

READ += [
    Layout("Food-101, some classes of it", "images/{pie,soup}/#3.jpg", "pie 3, soup 3; "
           "test 2, train 2",
           ("No images in meta", "meta/train.txt has 1 line of no image here",
            "Splits are those of meta/test.txt, meta/train.txt. 2 images in none of them"),
           {"meta/train.txt": "pie/1\nsoup/1\nwaffles/1\n",
            "meta/test.txt": "pie/2\nsoup/2\n"}),
    Layout("MIT indoor scenes", "Images/bar/#2.jpg", "bar 2, child room 2; "
           "test 2, train 2", ("Splits are those of TestImages.txt, TrainImages.txt",),
           {"Images/child room/1.jpg": "", "Images/child room/2.jpg": "",
            "TrainImages.txt": "bar/1.jpg\nchild room/1.jpg", "TestImages.txt":
            "bar/2.jpg 0\r\nchild room/2.jpg 1\r\n\r\n"}),
    Layout("DTD, ten folds", "dtd/images/{dotted,woven}/d_#2.jpg", "dotted 2, woven 2",
           ("No images in dtd/labels", "dtd/images/dotted/d_1.jpg is in several splits by "
            "dtd/labels/test2.txt, dtd/labels/train1.txt: what they say is left aside"),
           {"dtd/labels/train1.txt": "dotted/d_1.jpg\nwoven/d_1.jpg\n",
            "dtd/labels/test2.txt": "dotted/d_1.jpg\n"}),
    Layout("a text that is no list", "{a,b}/#2.jpg", "a 2, b 2", (), {"test.txt": "a test, 3\n"}),
    Layout("folders of splits and lists", "{train,test}/{a,b}/#1.jpg", "a 2, b 2; test 2, train 2",
           (), {"train.txt": "test/a/1.jpg\n"}),
    Layout("Tiny ImageNet with the classes of val", "train/{n1,n2}/images/#2.JPEG "
           "val/images/val_#3.JPEG test/images/test_#2.JPEG", "n1 4, n2 2; eval 2, train 4",
           ("Folders inside a class", "1 image in val/images without", "2 images in test/images"),
           {"train/n1/n1_boxes.txt": "1.JPEG\t0\t0\t9\t9\n", "val/val_annotations.txt":
            "val_1.JPEG\tn1\t0\t0\t9\t9\nval_2.JPEG\tn1\t0\t0\t9\t9\n"}),
    Layout("ILSVRC of Kaggle", IMAGENET, "n1 3, n2 3; eval 2, train 4",
           ("No images in ILSVRC/Annotations", "LOC_train_solution.csv says what the folders say",
            "LOC_val_solution.csv names 2 files that were found by their names",
            "2 images in ILSVRC/Data/CLS-LOC/test without a class left out"),
           {"ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_1.xml": voc("n2"),
            "ILSVRC/ImageSets/CLS-LOC/val.txt": "ILSVRC2012_val_1 1\nILSVRC2012_val_2 2\n",
            "LOC_synset_mapping.txt": "n1 tench, Tinca tinca\nn2 goldfish\n",
            "LOC_train_solution.csv": "ImageId,PredictionString\n"
            "n1_1,n1 0 0 9 9 \nn2_1,n2 1 2 3 4 n2 5 6 7 8 \n",
            "LOC_val_solution.csv": "ImageId,PredictionString\n"
            "ILSVRC2012_val_1,n1 0 0 9 9 n1 1 1 2 2 \nILSVRC2012_val_2,n2 0 0 9 9 \n",
            "LOC_sample_submission.csv": "ImageId,PredictionString\n"
            "ILSVRC2012_test_1,n1 0 0 9 9\n"}),
    Layout("ILSVRC by its annotations", IMAGENET, "n1 3, n2 3; eval 2, train 4",
           ("No images in ILSVRC/Annotations", "2 images in ILSVRC/Data/CLS-LOC/test without"),
           {"ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_1.xml": voc("n1", "n1"),
            "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_2.xml": voc("n2"),
            "ILSVRC/Annotations/CLS-LOC/train/n1/n1_1.xml": voc("n1")}),
    Layout("ILSVRC without either", IMAGENET, "n1 2, n2 2; train 4",
           ("2 images in ILSVRC/Data/CLS-LOC/val without", "2 images in ILSVRC/Data/CLS-LOC/test",
            "classes of ILSVRC2012_val_… stand in", "No images in ILSVRC/devkit"),
           {"ILSVRC/devkit/data/ILSVRC2012_validation_ground_truth.txt": "490\n361\n"}),
    Layout("folds", "fold_{1,2}/{a,b}/#1.jpg", "a 2, b 2",
           ("Taken for pieces of one set, not for classes: fold_1, fold_2",)),
    Layout("NIH chest X-rays", "images_001/images/1_#2.png images_002/images/2_#2.png",
           "Hernia 2, No Finding 2", ("pieces of one set", "found by their names"),
           {"Data_Entry_2017.csv": "Image Index,Finding Labels,Follow-up #\n1_1.png,Hernia,0\n"
            "1_2.png,No Finding,0\n2_1.png,Hernia,1\n2_2.png,No Finding,0\n"}),
    Layout("PlantVillage, one of three", "color/{Apple___scab,Corn___healthy}/#2.JPG",
           "Apple___scab 2, Corn___healthy 2"),
]  # fmt: skip

REFUSED = [
    Layout("boxes that are none", "#2.jpg", error="line 2, 1: 'n1 0 0' isn't a class and four",
           texts={"x.csv": "ImageId,PredictionString\n1,n1 0 0\n2,14 1 0 0 1 1\n"}),
    Layout("boxes of several classes in a table", "#1.jpg", error="2 classes; --multi-label takes",
           texts={"x.csv": "ImageId,PredictionString\n1,n1 0 0 1 1 n2 0 0 1 1\n"}),
    Layout("nothing", "", error="no images found. Expected a folder for each class"),
    Layout("no images", "a/#2.txt b/1.csv", error=r"there are 2 .txt, 1 .csv"),
    Layout("TFRecords", "train-1.tfrecord", error="TFRecords are read in place: set data.path"),
    Layout("flat", "#2.jpg", error="2 images are in the folder itself, so that their classes"),
    Layout("flat splits", "{train,test}/#2.jpg",
           error=r"4 images are in no folder of a class \(2 in test, 2 in train\)"),
    Layout("flat in a wrapper", "images/#2.jpg", error=r"\(2 in images\)"),
    Layout("a camera's numbers", "{IMG,DSC}_#3.jpg", error="6 images are in the folder itself"),
    Layout("names that do not repeat", "{a,b,c,d}_1.jpg", error="4 images are in the folder"),
    Layout("one class", "cat/#3.jpg", error="3 images by a folder for each class, all of one "
           "class, 'cat'. Expected at least two classes"),
    Layout("one class in splits", "{train,test}/cat/#3.jpg", error="all of one class, 'cat'"),
    Layout("one class in a table", "#2.jpg", texts={"x.csv": "path,label\n1.jpg,a\n2.jpg,a\n"},
           error="2 images by the labels in x.csv, all of one class, 'a'"),
    Layout("splits and classes side by side", "{train,test,cat,dog}/#2.jpg",
           error=r"\(2 in test, 2 in train\)"),
    Layout("classes named as splits", "#2.jpg",
           texts={"x.csv": "path,label\n1.jpg,train\n2.jpg,test\n"},
           error="the classes test, train have the names of splits"),
    Layout("nothing but unlabeled", "unlabeled/#2.jpg", error="2 images are in folders that are no "
           "classes.*unlabeled is no class"),
    Layout("archives in a folder", "{train,test}.zip", error="2 .zip.; an archive is read where"),
    Layout("one split unknown", "{train,final}/{a,b}/#1.jpg",
           error="train, final have the same folders in them.*Rename them"),
    Layout("folds of splits", "fold{1,2}/{train,test}/{a,b}/#1.jpg",
           error="fold1 has splits in it, as a whole set has, and is one of 2"),
    Layout("Blood cells, two sets",
           "dataset-master/JPEGImages/#2.jpg dataset2-master/images/{TRAIN,TEST}/{A,B}/#1.jpg",
           error="dataset2-master has splits in it.*Ingest one of them"),
    Layout("PlantVillage", "{color,grayscale,segmented}/{Apple,Corn}/#3.jpg",
           error="color, grayscale, segmented.*the same images"),
    Layout("CUB-200", "CUB_200_2011/images/{001.A,002.B}/b_#2.jpg CUB_200_2011/{x,y}.txt "
           "segmentations/{001.A,002.B}/b_#2.png",
           error="CUB_200_2011, segmentations.*the same images"),
    Layout("case", "{train/Cat,train/dog,test/cat,test/dog}/#1.jpg",
           error=r"the labels 'cat' \(1\), 'Cat' \(1\) differ in case or spaces only"),
    Layout("HAM10000 with two of a name", "part_{1,2}/#1.jpg",
           texts={"HAM10000_metadata.csv": "lesion_id,image_id,dx\nx,1,nv\n"},
           error="line 2, 1: not one file but 2 files: part_1/1.jpg, part_2/1.jpg"),
    Layout("a table that names others", "#2.jpg", texts={"labels.csv": "path,label\n8.jpg,a\n"},
           error="labels.csv names none of the images"),
    Layout("a table without labels", "train/#2.jpg",
           texts={"train/info.csv": "file_name,width,height\n1.jpg,32,64\n"},
           error="label is missing, found file_name, width, height"),
    Layout("several classes only", "train2017/#2.jpg",
           texts={"annotations/a.json": json.dumps({"images": [], "categories": []})},
           error=r"2 in train2017"),
    Layout("boxes of several classes", "train2017/{a,b}.jpg",
           texts={"annotations/a.json": coco(a="cat dog", b="")},
           error="By COCO annotations: 1 objects of several classes; --multi-label takes them, "
           "1 no object in its annotation"),
    Layout("no JSON of COCO", "#2.jpg", texts={"a.json": '{"images": [{}], "categories": [{}]}'},
           error="a.json: isn't COCO's form"),
    Layout("broken XML", "#2.jpg", texts={"1.xml": "<annotation>"}, error="1.xml: isn't XML"),
    Layout("broken YAML", "#2.jpg", texts={"data.yaml": "a: [", "1.txt": "0 1 1 1 1"},
           error="data.yaml: isn't YAML"),
]  # fmt: skip


@pytest.mark.parametrize("layout", READ, ids=[layout.name for layout in READ])
def test_layouts_that_are_read(tmp_path: Path, layout: Layout) -> None:
    root = tmp_path / "set"
    make(root, layout.files, layout.texts)
    listing = list_images(root)
    assert counted(listing) == layout.expected
    assert len(listing.refused) == layout.refused, listing.refused
    for expected in layout.notes:
        assert any(re.search(expected, note) for note in listing.notes), listing.notes
    assert len(listing.notes) == len(layout.notes), listing.notes
    for file in listing.files:
        assert file.path == str(root / file.name)
        assert Path(file.path).exists()


@pytest.mark.parametrize("layout", REFUSED, ids=[layout.name for layout in REFUSED])
def test_layouts_that_are_refused(tmp_path: Path, layout: Layout) -> None:
    make(tmp_path, layout.files, layout.texts)
    with pytest.raises(DarkroomError) as caught:
        list_images(tmp_path)
    assert re.search(layout.error, str(caught.value)), caught.value


SEVERAL = [
    Layout("COCO", "a#3.jpg", "cat 1, cat|dog 1", texts={"x.json": coco(a1="dog cat", a2="cat")},
           refused=1),
    Layout("Roboflow", "train/#2.jpg", "cat|dog 1, dog 1; train 2",
           texts={"train/_classes.csv": "filename, cat, dog\n1.jpg, 1, 1\n2.jpg, 0, 1\n"}),
]  # fmt: skip


@pytest.mark.parametrize("layout", SEVERAL, ids=[layout.name for layout in SEVERAL])
def test_several_labels_of_an_image(tmp_path: Path, layout: Layout) -> None:
    make(tmp_path, layout.files, layout.texts)
    listing = list_images(tmp_path, multi_label=True)
    assert counted(listing) == layout.expected
    assert len(listing.refused) == layout.refused


NAMES = (
    "train test val Train_images cat dog bird images labels unlabeled docs __MACOSX part_1 part_2"
)
PATHS = st.lists(st.sampled_from(NAMES.split()), max_size=3).map("/".join)


@settings(deadline=None)
@given(st.dictionaries(PATHS, st.integers(0, 3), min_size=1, max_size=8))
def test_no_image_is_left_out_without_a_line(
    tmp_path_factory: pytest.TempPathFactory, folders: dict[str, int]
) -> None:
    root = tmp_path_factory.mktemp("set")
    for folder, count in folders.items():
        make(root, f"./{folder}/ ./{folder}/{count}_#{count}.jpg")
    try:
        listing = list_images(root)
    except DarkroomError:
        return
    told = [re.search(r"(\d+) images? .*left out", note) for note in listing.notes]
    aside = sum(int(match[1]) for match in told if match)
    assert len(listing.files) + aside == sum(folders.values())
    assert len({file.path for file in listing.files}) == len(listing.files)
    assert len(listing.classes()) > 1
